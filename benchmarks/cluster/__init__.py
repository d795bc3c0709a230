"""Ray: its overhead on this machine, and a simulation of more machines than are here."""
