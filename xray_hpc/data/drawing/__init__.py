"""Radiographs drawn by the project itself: shapes, anatomy, film, and what can lie in lungs."""
