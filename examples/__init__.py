"""Programs and templates that show Replicator at work; none of them is part of what is installed."""
