"""Other tools beside adrl-gym: same network, same calibration images, same test images."""
