"""The commands. Each is a module with a `main`; none is imported by `import setsid`."""
