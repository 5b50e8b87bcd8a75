"""vloc: a robot's pose in a known place from one camera image. No ROS is imported here."""

__version__ = '0.1.0'
