"""What images are and where they come from: store, registries, archives, unpacking and packing."""
