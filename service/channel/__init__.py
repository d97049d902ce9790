"""How the API process and a worker talk: framed messages over a socket pair, no pickle."""
