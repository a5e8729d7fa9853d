"""What the tasks on MASSIVE's rows have in common: where these are, and the languages that they are in."""

from midalign.tasks import sources
from midalign.tasks.base import Task
from midalign.tasks.slots import massive


class OnMassive(Task):
    """A task whose published rows are MASSIVE's; a folder may hold other languages."""

    source = "AmazonScience/massive"
    supervised, aligned = massive.SUPERVISED, massive.ALIGNED

    def language(self, name, source):
        return super().language(name, source) if self.free(source, name) else massive.find_locale(name)

    def find(self, source, language, partition, revision):
        if source != "demo" and not self.free(source, language):
            sources.require_known(language, massive.LOCALES, "MASSIVE")
        return super().find(source, language, partition, revision)

    def free(self, source, language):
        """Whether rows are not MASSIVE's, so that a language is any that they have."""
        return sources.holds(source, language)
