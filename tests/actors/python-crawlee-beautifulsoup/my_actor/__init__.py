"""Titles and headings of a site."""
