"""Headings of one page."""
