"""HOW CONTAINERS REACH EACH OTHER: a pure plan, netlink, the firewall, names."""
