"""The third form of the compiler: kernel calls over planned memory."""
