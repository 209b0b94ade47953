//! From a configuration file to a plan, and from a plan to a running proxy.
