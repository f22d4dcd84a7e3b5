"""Label files as people's spreadsheets write them: encodings, workbooks, headers, numbers."""
