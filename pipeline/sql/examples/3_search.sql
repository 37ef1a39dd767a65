-- Which titles could this typing error mean?
from search_movies('toy stroy', k := 10);
