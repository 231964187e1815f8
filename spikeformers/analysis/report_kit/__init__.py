"""Shared by all reports: page template and style, figures, and units."""
