"""The models of this service: where they come from, what state they are in, who has the traffic."""
