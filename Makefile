# Names for those who look here first; the work is done by scripts/.
.PHONY: demo test test-all lint
demo:
	./scripts/demo
test:
	./scripts/test
test-all:
	./scripts/test -m ""
lint:
	./scripts/setup dev
	./scripts/lint
