"""Web page and HTTP API of `deblurlab serve`."""
