"""Titles of linked pages."""
