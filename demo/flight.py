"""The eyes of the pages that show a viewer, and how they fly from one view to the next."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import viser
from viser import ClientHandle
from viser.transforms import SO3

from recon.placement import Eye

SECONDS = 0.5
NEARBY = 0.02  # viewer units: an eye that far from a view still counts as being there


@dataclass(eq=False)
class Flight:
    """An eye on its way from ``start [3]``."""

    start: np.ndarray
    goal: Eye
    under_way: bool = True

    def passes(self, position: np.ndarray) -> bool:
        """Whether ``position [3]`` lies on the way."""
        way = self.goal.position - self.start
        part = np.clip((position - self.start) @ way / max(way @ way, 1e-12), 0, 1)
        return bool(np.linalg.norm(self.start + part * way - position) < NEARBY)


class Flights:
    """At most one flight for each page of ``server``; a later one takes over from an earlier one."""

    def __init__(self, server: viser.ViserServer) -> None:
        self._server = server
        self._flights: dict[int, Flight] = {}
        server.on_client_disconnect(self._forget)

    def fly(self, client: ClientHandle, goal: Eye) -> None:
        """Begin to move one page's eye to ``goal``; returns at once."""
        flight = self._flights[client.client_id] = Flight(client.camera.position, goal)
        threading.Thread(target=self._steer, args=(client, flight), daemon=True).start()

    def is_at(self, client: ClientHandle, eye: Eye) -> bool:
        """Whether that page looks from where ``eye`` does, or flies there."""
        flight = self._flights.get(client.client_id)
        if flight is not None and flight.goal is eye:  # a slow page tells late where it is
            return flight.under_way or flight.passes(client.camera.position)
        if flight is not None and flight.under_way:
            return False
        return bool(np.linalg.norm(client.camera.position - eye.position) < NEARBY)

    def _forget(self, client: ClientHandle) -> None:
        self._flights.pop(client.client_id, None)

    def _steer(self, client: ClientHandle, flight: Flight) -> None:
        goal, camera, begin = flight.goal, client.camera, time.monotonic()
        start, rotation, start_fov = flight.start, SO3(camera.wxyz), camera.fov
        turn = (rotation.inverse() @ SO3(goal.wxyz)).log()
        fov = goal.fov_in(camera.aspect)
        progress = 0.0
        while progress < 1 and self._flights.get(client.client_id) is flight:
            progress = min(1.0, (time.monotonic() - begin) / SECONDS)
            part = progress * progress * (3 - 2 * progress)
            with client.atomic():
                camera.wxyz = (rotation @ SO3.exp(part * turn)).wxyz
                camera.position = (1 - part) * start + part * goal.position
                camera.fov = (1 - part) * start_fov + part * fov
                if progress == 1:
                    camera.up_direction, camera.look_at, camera.near = goal.up, goal.look_at, goal.near
            client.flush()
            time.sleep(1 / 60)
        flight.under_way = False
