"""`tubeflow view`: the pages that show a workspace in a browser, and the server behind them."""
