"""What computes: one file a framework, behind one interface."""
