"""Device database, constraint templates and preset configurations."""
