"""An athlete's joints, frame by frame, to one vector."""
