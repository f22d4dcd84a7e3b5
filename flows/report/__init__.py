"""report.html, and a clip as one HTML file."""
