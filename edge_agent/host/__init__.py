"""The box and its operating system: load, clock, power, network, systemd, the local socket."""
