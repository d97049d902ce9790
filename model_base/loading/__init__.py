"""Loading without a framework: find the files, name the tensors, compare with what is wanted."""
