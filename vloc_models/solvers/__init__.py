"""From what was seen to where the robot is."""
