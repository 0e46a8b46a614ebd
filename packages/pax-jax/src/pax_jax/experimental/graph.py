"""Modules written down as graphs: `build_graph_module` makes a module from operations on nodes."""

from pax_jax.experimental._graph import GraphModule, InputNode, Node, build_graph_module

__all__ = ["GraphModule", "InputNode", "Node", "build_graph_module"]
