"""Parts of spiking networks, one per file. `contracts.py` lists what each kind accepts and returns."""
