"""ROS 2 nodes over `vloc_models`: parameters and messages in, messages out. No maths here."""
