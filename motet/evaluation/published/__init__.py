"""Published figures, computed anew from stored outputs: one file a source."""
