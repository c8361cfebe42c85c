"""Plain `nn.Module`s; how they are trained stands in `models`."""
