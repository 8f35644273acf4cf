"""The report of a run and its pictures, drawn from the files a run leaves: no model is loaded or run here."""
