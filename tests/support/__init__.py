"""What several tests share: tiny real files, real servers, and the repository's root."""

from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
