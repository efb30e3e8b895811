"""The demo: a made-up catalogue of the real one's size, shape and dirt."""
