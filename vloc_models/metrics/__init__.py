"""How right a result is: figures and plots from trajectories, knowing nothing of who made them."""
