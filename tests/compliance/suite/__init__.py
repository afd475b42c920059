"""What the compliance suite is made of; `run` beside this folder is the way in."""
