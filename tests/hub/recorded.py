"""A progress that remembers what it was told."""


class Recorded:
    def __init__(self) -> None:
        self.expected, self.come, self.files, self.most = [0, 0], 0, 0, 0

    def expect(self, num_bytes: int, num_files: int) -> None:
        self.expected[0] += num_bytes
        self.expected[1] += num_files

    def update(self, num_bytes: int) -> None:
        self.come += num_bytes
        self.most = max(self.most, self.come)

    def finish(self) -> None:
        self.files += 1
