"""The parent's side of the workers: starting them, admitting work, sending it, hearing back."""
