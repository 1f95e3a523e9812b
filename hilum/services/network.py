"""Everything that clients have this node do with other nodes."""

from dataclasses import dataclass
from functools import partial
from typing import Self

from hilum.index.database import Database
from hilum.index.exports import ExportLedger
from hilum.index.jobs import JobLedger
from hilum.index.queries import QueryLedger
from hilum.index.resources import Resources
from hilum.services import archives, exchange
from hilum.services.commitment import COMMITMENT, Commitments
from hilum.services.dimse import Dimse
from hilum.services.exchange import Exchange
from hilum.services.jobs import Jobs
from hilum.services.modalities import Modalities
from hilum.services.queries import Queries


@dataclass(frozen=True, slots=True)
class Network:
    """Whom there is to ask, what was asked, and what is being sent."""

    modalities: Modalities
    dimse: Dimse
    queries: Queries
    jobs: Jobs
    exports: ExportLedger
    resources: Resources

    @classmethod
    def over(
        cls,
        database: Database,
        resources: Resources,
        dimse: Dimse,
        modalities: Modalities,
        commitments: Commitments,
    ) -> Self:
        """Return it; its jobs are to be run (`Jobs.run`) for any of them to be done here."""
        work = Exchange(dimse, resources)
        return cls(
            modalities=modalities,
            dimse=dimse,
            queries=Queries(dimse, QueryLedger(database)),
            jobs=Jobs(
                JobLedger(database),
                {
                    exchange.STORE: work.store,
                    exchange.MOVE: work.move,
                    exchange.GET: work.get,
                    archives.ARCHIVE: archives.promise,
                    archives.MEDIA: archives.promise,
                    COMMITMENT: partial(commitments.report, dimse),
                },
            ),
            exports=ExportLedger(database),
            resources=resources,
        )
