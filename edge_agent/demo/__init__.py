"""A whole city on loopback, and the instruments that measure it. Nothing of the product imports this.

`city` starts a virtual recorder (`dvr/`), a broker, the command centre's side and the agent; `report` does
the main job and measures it from the far end. `pki` and `keyfile` make certificates and keys that survive a
restart.
"""
