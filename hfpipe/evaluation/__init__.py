"""Scores of finished outputs and pictures of a run: no model is loaded or run here."""
