"""Two runners, one of which forwards to the other: the real parts of both, on one virtual clock, and a line between them that breaks."""
