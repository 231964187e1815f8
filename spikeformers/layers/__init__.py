"""Parts of spiking networks, one file each. `contracts.py` is the menu: what each kind accepts and returns."""
