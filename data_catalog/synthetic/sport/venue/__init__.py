"""Where it takes place: the diving hall, the rink, their stands, and the water."""
