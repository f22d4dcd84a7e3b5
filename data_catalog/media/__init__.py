"""Videos and folders of frames as RGB arrays, and frames as they are stored."""
