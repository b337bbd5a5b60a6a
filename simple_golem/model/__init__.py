"""Pure values and the class that users subclass: no thread, no request, no file."""
