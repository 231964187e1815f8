"""What all reports are made with: a page with its style and its ways to write things, pictures, and units."""
