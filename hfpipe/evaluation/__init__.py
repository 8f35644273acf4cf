"""Scores of finished outputs, with intervals, baselines and verdict: no model is loaded or run here."""
